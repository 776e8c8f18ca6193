"""The Dask topic on which workers say that their hardware has changed. Pure."""

TOPIC = "dtf-hardware"
