"""Serves an application of Python over https: serve_wsgi.py MODULE:NAME[()] PORT CERTIFICATE KEY. Run by the servers' own Python."""

import importlib
import sys

from werkzeug.serving import run_simple

module, _, name = sys.argv[1].partition(":")
application = getattr(importlib.import_module(module), name.removesuffix("()"))
if name.endswith("()"):
    application = application()
run_simple("127.0.0.1", int(sys.argv[2]), application, threaded=True, ssl_context=(sys.argv[3], sys.argv[4]))
