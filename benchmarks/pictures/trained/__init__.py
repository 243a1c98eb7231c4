"""Networks on pictures that are trained for minutes, their flip tests, and what conversions make of them."""
