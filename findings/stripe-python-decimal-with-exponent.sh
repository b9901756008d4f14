#!/bin/sh
# A small price leaves stripe-python with an exponent, and a large round one as well.
#
# Versions: stripe 16.1.0 (stripe-python), Python 3.11
#
# Fields such as `unit_amount_decimal` are texts of digits with up to 12 decimal places, and since
# 2026-03-25 the types of stripe-python ask for a `decimal.Decimal`, so one would swear that the SDK
# writes them out. It sends `str(value)`: what lies below a millionth, and whatever was normalized, goes
# over the wire as `1E-12` or `2E+3`. Whoever takes requests of Stripe's clients, a mock or a proxy that checks
# them, has to read exponents; whoever sends them may format the number first.
#
# Seen: tiny 1E-12; millionth 0.000001; below 1E-7; round 2E+3; plain 3.6
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet stripe==16.1.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import json
import threading
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

import stripe

seen = []


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        seen.append(parse_qs(body)["unit_amount_decimal"][0])
        answer = json.dumps({"id": "price_1", "object": "price"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
client = stripe.StripeClient("sk_test_1", base_addresses={"api": url}, max_network_retries=0)
amounts = {
    "tiny": Decimal("0.000000000001"),
    "millionth": Decimal("0.000001"),
    "below": Decimal("0.0000001"),
    "round": Decimal("2000").normalize(),
    "plain": Decimal("3.6"),
}
for amount in amounts.values():
    client.v1.prices.create({"currency": "usd", "product": "prod_1", "unit_amount_decimal": amount})
server.shutdown()
print("; ".join(f"{name} {text}" for name, text in zip(amounts, seen)))
if seen != ["1E-12", "0.000001", "1E-7", "2E+3", "3.6"]:
    raise SystemExit("changed: decimals are written otherwise")
PYTHON
