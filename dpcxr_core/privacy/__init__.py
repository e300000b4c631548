"""Privacy room: sampling, clipping, noise, accounting and their proof; everything the guarantee rests on."""
