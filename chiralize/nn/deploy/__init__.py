"""Forms of a converted network: layers in even and odd blocks in place of dense symmetric weights."""
