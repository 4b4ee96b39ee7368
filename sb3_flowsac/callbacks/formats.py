"""SB3's formats of the log."""

# Where figures and settings are left out, because they are no numbers
TEXT_FORMATS = ("stdout", "log", "csv", "json")
