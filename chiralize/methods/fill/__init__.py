"""How weights are filled in once it is settled how hidden spaces transform."""
