"""Studies: experiments that train, compare with what is known and write results a reader can check."""
