"""Files of transforms, one module a program or family; :mod:`~morphseek_monai.spatial.files.transform_file` chooses."""
