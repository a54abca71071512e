"""PyJWT, asked line by line: issues a token from given claims, or reads one."""
import json
import sys

import jwt

for line in sys.stdin:
    asked = json.loads(line)
    if "issue" in asked:
        answer = jwt.encode(
            asked["issue"],
            asked["secret"],
            algorithm=asked.get("algorithm", "HS256"),
            headers=asked["headers"],
        )
    else:
        try:
            answer = jwt.decode(
                asked["read"],
                asked["secret"],
                algorithms=["HS256"],
                audience=asked["audience"],
                options={"require": ["aud", "exp", "iat", "jti"]},
            )
        except jwt.InvalidTokenError as error:
            answer = {"refused": type(error).__name__}
    print(json.dumps(answer), flush=True)
