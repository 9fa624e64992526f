"""Sends and watches through a gateway whose schema is known from server reflection alone.

Argument: the JSON line that `pilotgate sandbox --json` prints. Exits non-zero when something is not as it should be.
"""

import json
import sys

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from google.rpc import status_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICE = "pilotgate.v1.MessagingService"
INBOX = "pilotgate.v1.InboxService"


def main() -> None:
    place = json.loads(sys.argv[1])
    channel = grpc.insecure_channel(place["grpc"].removeprefix("http://"))
    database = ProtoReflectionDescriptorDatabase(channel)
    services = set(database.get_services())
    assert {SERVICE, INBOX, "grpc.health.v1.Health"} <= services, services
    pool = descriptor_pool.DescriptorPool(database)
    credential = [("authorization", "Bearer " + place["token"])]

    def call(name: str, fields: dict | list[dict], metadata=credential, service=SERVICE):
        method = pool.FindServiceByName(service).FindMethodByName(name)
        request_class = message_factory.GetMessageClass(method.input_type)
        kind = channel.unary_stream if method.server_streaming else channel.unary_unary
        if method.client_streaming:
            kind = channel.stream_stream
            request = iter([json_format.ParseDict(one, request_class()) for one in fields])
        else:
            request = json_format.ParseDict(fields, request_class())
        stub = kind(
            f"/{service}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )
        return stub(request, metadata=metadata, timeout=20)

    frames = call("StreamStatusUpdates", {"start_time": "2020-01-01T00:00:00Z"})
    first = next(frames)
    assert first.WhichOneof("frame") == "heartbeat" and first.cursor, first

    wanted = {"filter": {"numbers": [place["number"]], "kinds": ["INBOUND_KIND_MESSAGE"]}}
    inbox = call("StreamInboundEvents", wanted, service=INBOX)
    first = next(inbox)
    assert first.WhichOneof("frame") == "heartbeat" and first.cursor, first
    assert first.heartbeat.idle_reason == 1, first
    inbox.cancel()

    text = {
        "number": place["number"],
        "recipient": {"phone_number": "+5511987650101"},
        "text": {"body": "Hello from Python"},
        "request_id": "python-1",
        "metadata": {"order": "A-7731"},
    }
    sent = call("SendMessage", text)
    again = call("SendMessage", text)
    assert not sent.replayed and again.replayed
    assert sent.message.message_id == again.message.message_id

    statuses = []
    while statuses[-1:] != ["READ"]:
        frame = next(frames)
        if frame.WhichOneof("frame") != "update":
            continue
        update = json_format.MessageToDict(frame.update, descriptor_pool=pool)
        assert update["messageId"] == sent.message.message_id, update
        assert update["metadata"] == {"order": "A-7731"}, update
        statuses.append(update["status"].removeprefix("MESSAGE_STATUS_"))
    frames.cancel()
    bulk(call, pool, text)
    assert statuses == ["PENDING", "QUEUED", "SENT", "DELIVERED", "READ"], statuses

    try:
        call("SendMessage", {"number": place["number"]})
        raise AssertionError("an empty message was accepted")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
        assert details(pool, error)["google.rpc.ErrorInfo"]["reason"] == "INVALID_REQUEST"
        fields = [one["field"] for one in details(pool, error)["google.rpc.BadRequest"]["fieldViolations"]]
        assert fields == ["recipient", "content"], fields
    try:
        call("SendMessage", text, metadata=[])
        raise AssertionError("a call without a credential was accepted")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNAUTHENTICATED, error
        assert details(pool, error)["google.rpc.ErrorInfo"]["reason"] == "CREDENTIAL_MISSING"


def bulk(call, pool: descriptor_pool.DescriptorPool, text: dict) -> None:
    """Two thousand items on one stream, queued and direct, one of them wrong; then all of them in a list."""
    count = 2000

    def item(index: int) -> dict:
        handoff = "HANDOFF_QUEUED" if index % 2 else "HANDOFF_DIRECT"
        return {"correlation_key": f"key {index}", "message": {**text, "request_id": f"bulk-{index}", "handoff": handoff}}

    wrong = {"correlation_key": "wrong", "message": {"number": text["number"]}}
    results = {result.correlation_key: result for result in call("SendMessages", [*map(item, range(count)), wrong])}
    refused = results.pop("wrong").refused
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT.value[0], refused
    assert typed(pool, refused)["google.rpc.ErrorInfo"]["reason"] == "INVALID_REQUEST"
    accepted = {key: result.accepted.message.message_id for key, result in results.items()}
    assert set(accepted) == {f"key {index}" for index in range(count)} and all(accepted.values())

    listed, token = [], ""
    while True:
        page = call("ListMessages", {"page_size": 300, "page_token": token})
        listed += [message.message_id for message in page.messages]
        token = page.next_page_token
        if not token:
            break
    assert len(listed) == len(set(listed)) == count + 1
    assert set(accepted.values()) < set(listed)


def details(pool: descriptor_pool.DescriptorPool, error: grpc.RpcError) -> dict:
    """The typed details of an error, read with the schema that reflection gives."""
    (encoded,) = [value for key, value in error.trailing_metadata() if key == "grpc-status-details-bin"]
    return typed(pool, status_pb2.Status.FromString(encoded))


def typed(pool: descriptor_pool.DescriptorPool, status) -> dict:
    found = {}
    for detail in status.details:
        name = detail.type_url.rpartition("/")[2]
        message = message_factory.GetMessageClass(pool.FindMessageTypeByName(name)).FromString(detail.value)
        found[name] = json_format.MessageToDict(message)
    return found


if __name__ == "__main__":
    main()
