#!/usr/bin/env python3
"""Drives a running double with the official Python SDK, unchanged.

    official_sdk.py BASE_URL NUMBER_KEY TENANT_KEY [WEBHOOK_SECRET]

Needs pilot-status==1.15.0. Every answer is held against the SDK's own TypedDicts,
every delivered event goes through its parser in strict mode. Exits 1 on the first
mismatch. Leaves the double's account with another number key than it had.
"""

import hashlib
import hmac
import http.server
import json
import queue
import sys
import threading
import types as pytypes
import typing
import urllib.request

import pilot_status
from pilot_status import errors, types
from pilot_status.client import PilotStatusClient
from pilot_status.http import _default_transport
from pilot_status.webhooks import parse_customer_webhook

BASE, NUMBER_KEY, TENANT_KEY = sys.argv[1:4]
SECRET = sys.argv[4] if len(sys.argv) > 4 else None
HOST = "https://pilotstatus.com.br"
PHONE = "+5521987651234"


def transport(request, timeout):
    """The SDK has its host built in; only the address is changed."""
    assert request.full_url.startswith(HOST), request.full_url
    request.full_url = BASE + request.full_url[len(HOST):]
    return _default_transport(request, timeout)


def client(key, **more):
    return PilotStatusClient(api_key=key, transport=transport, get_retries=0, **more)


def raw(method, path, body=None, key=None):
    headers = {"content-type": "application/json"}
    if key:
        headers["x-api-key"] = key
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(BASE + path, data=data, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.loads(response.read() or b"null")


def fits(value, hint, at):
    """Raises if a value is not of a (TypedDict) type. Unknown members are fine."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is typing.Any or hint is object:
        return
    if origin in (typing.Required, typing.NotRequired):
        return fits(value, args[0], at)
    if origin in (typing.Union, pytypes.UnionType):
        problems = []
        for arg in args:
            try:
                return fits(value, arg, at)
            except AssertionError as problem:
                problems.append(str(problem))
        raise AssertionError("; ".join(problems))
    if origin is typing.Literal:
        assert value in args, f"{at}: {value!r} is none of {args}"
        return
    if origin is list:
        assert isinstance(value, list), f"{at}: {value!r} is no list"
        for i, item in enumerate(value):
            fits(item, args[0], f"{at}[{i}]")
        return
    if origin is dict or hint is dict:
        assert isinstance(value, dict), f"{at}: {value!r} is no object"
        return
    if typing.is_typeddict(hint):
        assert isinstance(value, dict), f"{at}: {value!r} is no object"
        for name, field in typing.get_type_hints(hint, include_extras=True).items():
            kind = typing.get_origin(field)
            needed = kind is typing.Required or (hint.__total__ and kind is not typing.NotRequired)
            if name in value:
                fits(value[name], field, f"{at}.{name}")
            else:
                assert not needed, f"{at}.{name} is missing"
        return
    if hint is type(None):
        assert value is None, f"{at}: {value!r} is not null"
        return
    if hint is float:
        assert isinstance(value, (int, float)) and not isinstance(value, bool), f"{at}: {value!r}"
        return
    assert isinstance(hint, type), f"{at}: cannot check {hint!r}"
    assert isinstance(value, hint) and (hint is bool or not isinstance(value, bool)), (
        f"{at}: {value!r} is no {hint.__name__}"
    )


def check(name, value, hint):
    fits(value, hint, name)
    print(f"ok  {name}")
    return value


def refused(name, kind, status, code, call):
    try:
        call()
    except errors.PilotStatusHttpError as error:
        assert type(error) is kind and error.status == status, f"{name}: {error!r}"
        assert (error.body or {}).get("code") == code, f"{name}: {error.body!r}"
        print(f"ok  {name} refused with {status} {code}")
        return error
    raise AssertionError(f"{name}: not refused")


class Receiver:
    """Takes deliveries, parses each strictly."""

    def __init__(self):
        self.events = queue.Queue()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.events.put((body, self.headers.get("x-pilot-status-signature")))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def next(self):
        body, signature = self.events.get(timeout=10)
        if SECRET:
            expected = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
            assert signature == expected, f"signature {signature} is not {expected}"
        return parse_customer_webhook(json.loads(body), unknown_events="raise")


def messages(number, receiver):
    send = number.messages.send
    inputs = {
        "template": {"templateId": "order_update", "destinationNumber": PHONE,
                     "variables": {"name": "Rita", "order": "A-1"}, "labels": ["x"],
                     "deliverUntil": "2090-01-01T00:00:00.000Z"},
        "text": {"text": "Oi", "destinationNumber": PHONE, "markRead": False},
        "buttons": {"text": "Oi", "destinationNumber": PHONE, "footer": "f",
                    "header": {"type": "text", "content": "h"},
                    "buttons": [{"type": "reply", "label": "Ok"}]},
        "list": {"text": "Oi", "destinationNumber": PHONE,
                 "list": {"buttonText": "b", "sections": [
                     {"title": "s", "rows": [{"title": "r", "rowId": "1"}]}]}},
        "carousel": {"text": "Oi", "destinationNumber": PHONE,
                     "carousel": {"cards": [{"media": {"type": "image", "url": "https://a.test/1"},
                                             "body": "b", "buttons": []}]}},
        "flow": {"text": "Oi", "destinationNumber": PHONE,
                 "flow": {"flowId": "1", "cta": "c", "action": "navigate", "mode": "published"}},
        "media": {"destinationNumber": PHONE, "media": "https://a.test/1.png"},
    }
    for name, body in inputs.items():
        accepted = check(f"messages.send {name}", send(body), types.SendMessageAccepted)
        assert ("flowToken" in accepted) == (name == "flow")
        for event in ("message.sent", "message.delivered", "message.read"):
            seen = receiver.next()
            assert seen["event"] == event and seen["data"]["id"] == accepted["id"], seen
        details = number.messages.get(accepted["id"])
        check("messages.get", details, types.MessageDetails)
        assert details["status"] == "READ" and ("template" in details) == (name == "template")

    failing = send({"text": "Oi", "destinationNumber": "+5521987650002"})
    event = receiver.next()
    assert event["event"] == "message.failed" and event["data"]["messageId"] is None
    details = check("messages.get failed", number.messages.get(failing["id"]), types.MessageDetails)
    assert details["errorCode"] == event["data"]["errorCode"] == "META_OUTSIDE_24H_WINDOW"

    body = {"text": "Oi", "destinationNumber": PHONE, "deliverAt": "2090-01-01T00:00:00.000Z"}
    first = send(body, idempotency_key="sdk-1")
    assert send(body, idempotency_key="sdk-1") == first
    refused("other body", errors.ConflictError, 409, "IDEMPOTENCY_KEY_REUSED",
            lambda: send({**body, "text": "Ola"}, idempotency_key="sdk-1"))
    refused("long key", errors.ValidationError, 400, "IDEMPOTENCY_KEY_INVALID",
            lambda: send(body, idempotency_key="x" * 256))
    result = number.messages.cancel([first["id"], failing["id"]])
    check("messages.cancel", result, types.CancelMessagesResult)
    assert result["cancelled"] == [first["id"]] and len(result["failed"]) == 1
    history = number.messages.history(page=1, page_size=5, start_date="2020-01-01T00:00:00.000Z")
    check("messages.history", history, types.MessageHistoryResult)
    assert len(history["messages"]) == 5
    refused("unknown message", errors.NotFoundError, 404, None, lambda: number.messages.get("nope"))
    refused("no variables", errors.ValidationError, 400, "MISSING_TEMPLATE_VARIABLES",
            lambda: send({"templateId": "otp_code", "destinationNumber": PHONE}))
    refused("rate", errors.RateLimitError, 429, "RATE_LIMITED",
            lambda: send({"text": "x", "destinationNumber": "+5521987650014"}))
    refused("broken", errors.ServerError, 500, None,
            lambda: send({"text": "x", "destinationNumber": "+5521987650011"}))
    refused("paid plan", errors.PilotStatusHttpError, 402, "SUBSCRIPTION_REQUIRED_FOR_MEDIA",
            lambda: send({"text": "x", "destinationNumber": "+5521987650018"}))
    page = refused("proxy page", errors.ServerError, 502, None,
                   lambda: send({"text": "x", "destinationNumber": "+5521987650013"}))
    assert page.body is None and "<html>" in page.raw_body
    for _ in range(3):
        receiver.next()


def inbound(receiver, number_id):
    base = {"numberId": number_id, "messageId": "wamid.IN", "id": "cm_1", "type": "text",
            "fromMe": False, "createdAt": "2027-01-12T14:07:10.000Z", "from": PHONE,
            "to": "+5511900000000", "content": "Oi"}
    number = {"numberId": number_id, "phone": "+5511900000000", "displayName": "S",
              "createdAt": "2027-01-12T14:07:10.000Z"}
    for event in (
        {"event": "message.received", "data": base},
        {"event": "message.reply", "data": {**base, "contentReplied": "x", "quotedMessageId": "w"}},
        {"event": "message.group", "data": {**base, "groupId": "1@g.us", "groupName": None}},
        {"event": "message.newsletter", "data": {**base, "newsletterId": "1@newsletter"}},
        {"event": "number.disconnected", "data": {**number, "error": "session closed"}},
        {"event": "call.missed", "callId": None, "direction": "INBOUND", "status": "MISSED",
         "from": PHONE, "to": None, "timestamp": "2027-01-13T10:00:41.000Z"},
    ):
        assert raw("POST", f"/sandbox/control/events?number_id={number_id}", event) == {"webhooks": 1}
        assert receiver.next() == event
        print(f"ok  event {event['event']}")


def account(number, tenant, number_id):
    check("numbers.list", tenant.numbers.list(), list[types.WhatsAppNumberListItem])
    check("numbers.list by number key", number.numbers.list(), list[types.WhatsAppNumberListItem])
    made = tenant.numbers.create({"name": "Loja", "number": "+552133334444"})
    new = check("numbers.create", made, types.CreateNumberResult)["instance"]["id"]
    check("numbers.get", tenant.numbers.get(new, refresh=True), types.NumberDetail)
    check("numbers.get_status", tenant.numbers.get_status(new), types.NumberStatusResult)
    check("numbers.connect", tenant.numbers.connect(new), types.NumberConnectResult)
    changed = tenant.numbers.update_settings(new, {"markReadOnSend": False, "alwaysOnline": None})
    check("numbers.update_settings", changed, types.UpdateNumberResult)
    refused("empty patch", errors.ValidationError, 400, "EMPTY_PATCH",
            lambda: tenant.numbers.update(new, {}))
    raw("POST", f"/sandbox/control/numbers/{new}", {"extra_charge_unpaid": True})
    check("numbers.list unpaid", tenant.numbers.list(), list[types.WhatsAppNumberListItem])
    check("numbers.pay", tenant.numbers.pay(new), types.NumberPayResult)
    check("numbers.delete", tenant.numbers.delete(new), types.DeleteNumberResult)
    refused("deleted phone", errors.ConflictError, 409, "NUMBER_SOFT_DELETED",
            lambda: tenant.numbers.create({"name": "Loja", "number": "552133334444"}))
    check("numbers.restore", tenant.numbers.restore(new), types.NumberRestoreResult)
    check("numbers.purge", tenant.numbers.purge(new), types.NumberPurgeResult)

    listed = number.templates.list()
    check("templates.list", listed, list[types.TemplateListItem])
    check("templates.get", number.templates.get("onboarding-test"), types.TemplateDetail)
    raw("PATCH", "/sandbox/control/switches", {"groups_shape": "bare", "newsletters_shape": "bare"})
    check("groups.list", number.groups.list(), list[types.GroupListItem])
    check("newsletters.list", number.newsletters.list(), list[types.NewsletterListItem])
    raw("PATCH", "/sandbox/control/switches", {"groups_shape": "wrapped", "newsletters_shape": "wrapped"})
    check("analytics", number.analytics.get_dashboard_stats(tz="UTC"), types.DashboardStats)

    refused("tenant send", errors.ForbiddenError, 403, "TENANT_SCOPE_NOT_ALLOWED",
            lambda: tenant.messages.send({"text": "x", "destinationNumber": PHONE}))
    refused("tenant history", errors.ForbiddenError, 403, "TENANT_SCOPE_NOT_ALLOWED",
            tenant.messages.history)
    check("history with number", tenant.with_number(number_id).messages.history(),
          types.MessageHistoryResult)
    check("api_keys.list", tenant.api_keys.list(), list[types.NumberApiKeyReveal])
    refused("number key list", errors.ForbiddenError, 403, "NUMBER_SCOPE_NOT_ALLOWED",
            number.api_keys.list)
    raw("PATCH", "/sandbox/control/switches", {"number_key_lists_keys": True})
    check("api_keys.list by number key", number.api_keys.list(), list[types.ApiKeyListItem])
    raw("PATCH", "/sandbox/control/switches", {"number_key_lists_keys": False})
    new = check("api_keys.regenerate_number", tenant.api_keys.regenerate_number(number_id),
                types.RegeneratedNumberKey)
    refused("old key", errors.AuthenticationError, 401, None, number.numbers.list)
    check("new key", client(new["key"]).numbers.list(), list[types.WhatsAppNumberListItem])


def main():
    number, tenant = client(NUMBER_KEY), client(TENANT_KEY)
    number_id = number.numbers.list()[0]["id"]
    receiver = Receiver()
    hook = raw("POST", "/v1/webhooks", {"url": receiver.url, "name": "sdk", "events": ["*"]}, NUMBER_KEY)
    messages(number, receiver)
    inbound(receiver, number_id)
    raw("DELETE", f"/v1/webhooks/{hook['id']}", key=NUMBER_KEY)
    account(number, tenant, number_id)
    assert receiver.events.empty()
    print(f"the double satisfies pilot-status {getattr(pilot_status, '__version__', '1.15.0')}")


main()
