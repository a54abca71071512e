"""Files whose name comes with a request."""


def by_its_name(request, root):
    with open(root + "/" + request.GET["name"], "rb") as file:
        return file.read()
