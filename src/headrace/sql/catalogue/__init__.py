"""The functions of the language: names, types, documentation and examples."""
