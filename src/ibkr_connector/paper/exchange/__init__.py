"""The paper exchange. `book.Exchange` is its face, `types` holds its words, `behavior` how quick and tidy it is."""
