import os


def no_link(path):
    if os.path.islink(path):
        raise OSError("link")
    handle = os.open(path, os.O_RDONLY)
    return os.read(handle, 100)
