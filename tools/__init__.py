"""What developers run beside the package: model fetching, checks of the wheel, measurements."""
