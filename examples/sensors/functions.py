"""Functions that the query calls."""


def fahrenheit(celsius):
    """Return a temperature in degrees Fahrenheit; one that cannot be is refused."""
    if celsius < -273.15:
        raise ValueError(f"{celsius} degrees Celsius is below absolute zero")
    return round(celsius * 9 / 5 + 32, 1)
