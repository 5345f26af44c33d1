"""The data sets, and what a part is: its files, pairs, pictures, clouds and units, and what can be wrong with them."""
