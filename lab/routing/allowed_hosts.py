"""Django refuses the Host that nginx sends."""

CAUSE = "host-header-or-allowed-hosts"

APP = """
from django.conf import settings

settings.configure(ALLOWED_HOSTS=["shop.example"], ROOT_URLCONF="app", SECRET_KEY="lab", DEBUG=False)

from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

urlpatterns = [path("", lambda request: HttpResponse(request.get_host()))]
app = get_wsgi_application()
"""


def run(lab):
    lab.nginx(upstream="server 127.0.0.1:8000;")
    lab.gunicorn(app=APP)
    lab.get("/", 400, times=3)
