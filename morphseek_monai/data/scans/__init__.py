"""Reading one scan of any format, with what its file says and what is wrong with it."""
