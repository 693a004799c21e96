"""The application for Tornado's own server: `python tornado_app.py PORT`."""

import asyncio
import sys
from urllib.parse import unquote

import seen
import tornado.web


class Report(tornado.web.RequestHandler):
    SUPPORTED_METHODS = (*tornado.web.RequestHandler.SUPPORTED_METHODS, "QUERY")

    def answer(self):
        request = self.request
        raw_path, _, query = request.uri.partition("?")
        self.set_header("Content-Type", "application/json")
        self.write(
            seen.report(
                method=request.method,
                path=unquote(request.path),
                raw_path=raw_path,
                query=query,
                headers=[[name.lower(), value] for name, value in request.headers.get_all()],
                body=request.body,
                version=request.version.removeprefix("HTTP/"),
            )
        )

    get = post = put = patch = delete = options = query = answer


class Upload(tornado.web.RequestHandler):
    def post(self):
        self.set_header("Content-Type", "application/json")
        self.write(seen.digest(self.request.body))

    put = post


async def main(port: int):
    app = tornado.web.Application([("/_/upload", Upload), ("/.*", Report)])
    app.listen(port, "127.0.0.1", max_buffer_size=200 * 1024 * 1024)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
