"""The paper in numbers: its EfficientNets, its printed tables and the same tables computed."""
