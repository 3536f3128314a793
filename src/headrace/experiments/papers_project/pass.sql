SELECT * INTO work FROM papers
