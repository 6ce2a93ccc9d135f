"""The console's routes."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route

from palomar.server.web import errors
from palomar.server.web.console import account_settings, confirming, entry
from palomar.server.web.console.rendering import render_error, style
from palomar.server.web.console.visits import private, view

_PAGES = ("/signup", "/login", "/logout", "/settings")


def routes() -> list[BaseRoute]:
    for prefix in _PAGES:
        errors.use_renderer(prefix, render_error)
    errors.use_renderer_for_media_type("text/html", render_error)
    return [
        Route("/", view(entry.landing), methods=["GET"]),
        Route("/signup", view(entry.show_sign_up), methods=["GET"]),
        Route("/signup", view(entry.submit_sign_up), methods=["POST"]),
        Route("/login", view(entry.show_login), methods=["GET"]),
        Route("/login", view(entry.submit_login), methods=["POST"]),
        Route("/logout", view(entry.logout), methods=["POST"]),
        Route("/login/cli", private(confirming.show), methods=["GET"]),
        Route("/login/cli", private(confirming.decide), methods=["POST"]),
        Route("/settings", private(account_settings.show), methods=["GET"]),
        Route("/settings/tokens", private(account_settings.add_token), methods=["POST"]),
        Route("/settings/tokens/delete", private(account_settings.remove_token), methods=["POST"]),
        Route("/settings/sessions/end", private(account_settings.remove_session), methods=["POST"]),
        Route("/settings/password", private(account_settings.change_password), methods=["POST"]),
        Route("/static/{version}/palomar.css", style, methods=["GET"]),
    ]
