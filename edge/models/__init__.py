"""The networks: mixers (time), layers (space and width), topologies (how they are stacked), losses."""
