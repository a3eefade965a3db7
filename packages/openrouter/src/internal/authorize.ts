/**
 * The one place where a secret leaves its `Redacted`: a header of a request that is about to be sent. When that is over, it is
 * taken out again.
 *
 * Effect redacts headers where it prints them. Node does not ask it to when it prints an error that nobody has caught, and an
 * error of the HTTP client holds its request.
 */
import * as Redacted from "effect/Redacted"
import { HttpClientRequest } from "effect/http"
import type { Key } from "@evenkeel/core"

type Request = HttpClientRequest.HttpClientRequest

/** The request with the credential of the key, and no other. */
export const authorize = (request: Request, { secret }: Key.Key): Request =>
  HttpClientRequest.setHeader(
    request.headers["x-api-key"] === undefined
      ? request
      : HttpClientRequest.removeHeader(request, "x-api-key"),
    "authorization",
    `Bearer ${Redacted.value(secret)}`
  )

/** Takes the credential out of a request that has been sent: whatever holds on to the request, an error or a response, shows none. */
export const forgetCredential = ({ headers }: Request): void => {
  // The headers are a copy that `authorize`, or the client below, has made for this one use.
  if (headers["authorization"] !== undefined) (headers as Record<string, string>)["authorization"] = hidden
}

const hidden = "<redacted>"
