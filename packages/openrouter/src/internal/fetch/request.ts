/**
 * What a caller of the fetch gives, made ready to be sent more than once.
 */
import { HttpClientRequest } from "effect/http"
import { nothing, requestFactsOf, type RequestFacts } from "../requestFacts.ts"

export interface Outgoing {
  readonly http: HttpClientRequest.HttpClientRequest
  readonly url: URL
  /** The parsed body of a request in JSON. */
  readonly json: unknown
  readonly facts: RequestFacts
  readonly redirect: RequestRedirect
  /** What else the caller wants of the underlying fetch, such as a dispatcher. */
  readonly init: RequestInit
}

/** The address that a fetch is called with; one that is none is for the platform's fetch to refuse. */
export const urlOf = (input: RequestInfo | URL): string =>
  input instanceof Request ? input.url : String(input)

/**
 * The caller's own signal. That of a `Request` made here would follow it through a weak reference, and an abort could be
 * lost with it.
 */
export const signalOf = (input: RequestInfo | URL, init: RequestInit | undefined): AbortSignal | undefined =>
  (init?.signal === undefined && input instanceof Request ? input.signal : init?.signal) ?? undefined

/**
 * Headers that speak of one connection, or of one body as it was encoded. Without `accept-encoding` a client that decodes
 * asks for what it can decode, and one that does not is sent what needs no decoding.
 */
const ofConnection = [
  "accept-encoding",
  "connection",
  "content-length",
  "expect",
  "host",
  "keep-alive",
  "transfer-encoding",
  "upgrade"
]

/** Reads the body into memory: another key may need it again. */
export const outgoing = async (
  input: RequestInfo | URL,
  init: RequestInit | undefined,
  defaults: Readonly<Record<string, string>>
): Promise<Outgoing> => {
  const request = new Request(input, init)
  const bytes = request.body === null ? undefined : new Uint8Array(await request.arrayBuffer())
  const headers: Record<string, string> = { ...defaults, ...Object.fromEntries(request.headers) }
  for (const name of ofConnection) delete headers[name]
  const url = new URL(request.url)
  url.hash = ""
  // As text: the parts of a URL object would be encoded anew.
  const plain = HttpClientRequest.make(request.method as "POST")(url.href, { headers })
  const contentType = headers["content-type"] ?? "application/octet-stream"
  const json = bytes !== undefined && contentType.includes("json") ? parse(bytes) : undefined
  const { body: _body, headers: _headers, method: _method, signal: _signal, ...rest } = init ?? {}
  return {
    http: bytes === undefined ? plain : HttpClientRequest.bodyUint8Array(plain, bytes, contentType),
    url,
    json,
    facts: json === undefined || bytes === undefined ? nothing : requestFactsOf(json, bytes.length, headers),
    redirect: request.redirect,
    init: { ...rest, redirect: "manual" }
  }
}

const decoder = new TextDecoder()

const parse = (bytes: Uint8Array): unknown => {
  try {
    return JSON.parse(decoder.decode(bytes))
  } catch {
    return undefined
  }
}
