"""Files of transforms: of any program, and affines as text."""
