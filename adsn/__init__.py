"""The network and how it learns. Importing this package imports no torch; its modules do."""
