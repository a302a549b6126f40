"""Images, masks and regions on one grid, in millimetres."""
