"""The application for aiohttp's own server: `python aiohttp_app.py PORT`."""

import sys

import seen
from aiohttp import web


async def report(request: web.Request):
    body = await request.read()
    raw_path, _, query = request.raw_path.partition("?")
    text = seen.report(
        method=request.method,
        path=request.path,
        raw_path=raw_path,
        query=query,
        headers=[[name.decode("latin-1").lower(), value.decode("latin-1")] for name, value in request.raw_headers],
        body=body,
        version=f"{request.version.major}.{request.version.minor}",
    )
    return web.Response(body=text, content_type="application/json")


async def upload(request: web.Request):
    return web.Response(body=seen.digest(await request.read()), content_type="application/json")


app = web.Application(client_max_size=200 * 1024 * 1024)
app.router.add_route("*", "/_/upload", upload)
app.router.add_route("*", "/{rest:.*}", report)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), handle_signals=True)
