"""A store that another request may write to between two calls."""


class Redis:
    def __init__(self):
        self.rows, self.between = {}, None

    def get(self, name):
        found = self.rows.get(name)
        if self.between:
            self.between(self)
        return found

    def exists(self, name):
        return int(self.get(name) is not None)

    def set(self, name, value, ex=None, nx=False):
        if nx and name in self.rows:
            return None
        self.rows[name] = value
        return True

    def setex(self, name, time, value):
        return self.set(name, value, ex=time)

    def sismember(self, name, value):
        return int(value in (self.get(name) or ()))

    def sadd(self, name, value):
        rows = self.rows.setdefault(name, set())
        is_new = value not in rows
        rows.add(value)
        return int(is_new)
