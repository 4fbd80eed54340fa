"""What the server and its clients take for granted when nothing else is said."""

ADDRESS = "127.0.0.1:50051"
MAX_MESSAGE_MIB = 32
"""Size of one message: an uncompressed cine of 255 frames of 256 x 256 pixels fits."""
MAX_PENDING = 64
"""Slices that a server takes before it answers the first of them; a further one is told to come again."""
MAX_PENDING_MIB = 256
"""Size of the files of these slices, in MiB."""
MAX_STREAM_PENDING = 16
"""Slices of one stream under way: enough for the engine never to wait for the next."""
GRACE_S = 10.0
"""How long requests that were accepted may still take when the server is told to stop."""
TIMEOUT_S = 30.0
"""How long a client waits for one answer, and for a server that has answered it before and is not there any more."""
CONNECT_S = 5.0
"""How long a client waits for a server that has never answered it: it may be starting, or not be there at all."""
SWAP_S = 600.0
"""How long an operator waits for another model: TensorRT may have to build an engine first."""
MAX_ID = 128
"""Characters of the longest id of a stream's slice."""
