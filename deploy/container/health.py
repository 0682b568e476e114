"""Exit with 0 if the service in this container can score pairs: /readyz returns 200."""

import os
import ssl
import sys
import urllib.error
import urllib.request

tls = bool(os.environ.get("ADSN_TLS__CERTIFICATE"))
url = f"{'https' if tls else 'http'}://127.0.0.1:{os.environ.get('ADSN_PORT', '8000')}/readyz"
context = None
if tls:
    # The certificate is for another name than this address. Nothing secret is sent or received.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
try:
    with urllib.request.urlopen(url, timeout=2, context=context) as answer:
        sys.exit(0 if answer.status == 200 else 1)
except (urllib.error.URLError, OSError, ValueError) as error:
    print(error)
    sys.exit(1)
