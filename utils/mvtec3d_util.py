"""The release's functions on organised point clouds, under the names that its users import."""

from data.organised_clouds import organized_pc_to_depth_map, read_tiff_organized_pc, resize_organized_pc

__all__ = ["organized_pc_to_depth_map", "read_tiff_organized_pc", "resize_organized_pc"]
