"""Signals of tissues in a balanced steady-state sequence, as shares of that of blood.

Fat is negative: at the echo time of such a sequence fat and water point in opposite directions, and cancel
where they share a pixel. That draws the thin dark lines around organs that readers know as India ink.
"""

BLOOD = 1.0
FAT = -1.05
MUSCLE = 0.24
SKIN = 0.35
LUNG = 0.045
BONE = 0.03
FIBROUS = 0.06
"""Pericardium, diaphragm's tendon, walls of arteries."""
