/**
 * The options of the gateway, checked and made ready.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { HttpServer } from "effect/http"
import { NetAddress } from "effect/net"
import { OpenRouterError } from "@evenkeel/openrouter"
import type * as Gateway from "../Gateway.ts"
import type * as GatewayServer from "../GatewayServer.ts"
import { isLoopback } from "./loopback.ts"
import { tokenCheck, type TokenCheck } from "./tokens.ts"

export interface Settings {
  /** `undefined`: everybody may call. */
  readonly tokens: TokenCheck | undefined
  /** `undefined`: any `Host` will do. */
  readonly hosts: ((name: string) => boolean) | undefined
  readonly origins: ReadonlyArray<string>
  readonly maxBodyBytes: number
  readonly maxInFlight: number
  readonly health: boolean
  readonly metrics: boolean
  readonly page: boolean
}

const invalid = (option: string, expected: string) =>
  Effect.fail(new OpenRouterError.InvalidOption({ option, expected }))

/** Where a server listens, as a name or an address; `undefined` where there is none, or none that others could reach. */
export const hostOf = (server: Option.Option<HttpServer.HttpServer["Service"]>): string | undefined =>
  Option.isSome(server) && NetAddress.isInetAddress(server.value.address)
    ? NetAddress.formatIp(server.value.address.address)
    : undefined

/** A token that is shorter could be guessed, and one with a blank does not fit into a header. */
const token = /^[\x21-\x7e]{16,512}$/

/** Checks the options of the routes, for a server that listens at `host`. */
export const settingsOf = Effect.fnUntraced(function* (
  options: Gateway.Options,
  host: string | undefined
): Effect.fn.Return<Settings, OpenRouterError.InvalidOption> {
  const { allowUnauthenticated = false, allowedHosts, allowedOrigins = [], tokens = [] } = options
  const { maxBodyBytes = 32 * 1024 * 1024, maxInFlight = 4096 } = options
  if (!Array.isArray(tokens) || !tokens.every((one) => Redacted.isRedacted(one) && isToken(one))) {
    return yield* invalid("tokens", "a list of Redacted tokens, each of 16 to 512 printable ASCII characters")
  }
  const open = tokens.length === 0
  if (open && !allowUnauthenticated && host !== undefined && !isLoopback(host)) {
    return yield* invalid(
      "tokens",
      `a list of at least one token, because ${host} can be reached from other machines (or set allowUnauthenticated)`
    )
  }
  if (allowedHosts !== undefined && !allowedHosts.every((name) => hostName.test(name))) {
    return yield* invalid("allowedHosts", "a list of names or addresses without a port")
  }
  for (const origin of allowedOrigins) {
    if (origin !== "*" && !(URL.canParse(origin) && new URL(origin).origin === origin)) {
      return yield* invalid("allowedOrigins", "a list of origins such as https://app.example, or *")
    }
    if (origin === "*" && open)
      return yield* invalid("allowedOrigins", "a list without *, unless there are tokens")
  }
  if (!(Number.isSafeInteger(maxBodyBytes) && maxBodyBytes >= 1)) {
    return yield* invalid("maxBodyBytes", "a whole number of bytes from 1 up")
  }
  if (!(maxInFlight === Infinity || (Number.isInteger(maxInFlight) && maxInFlight >= 1))) {
    return yield* invalid("maxInFlight", "a whole number from 1 up, or Infinity")
  }
  const names = new Set(allowedHosts?.map((name) => name.toLowerCase()))
  const local = host === undefined ? !allowUnauthenticated : isLoopback(host)
  const checksHosts = allowedHosts !== undefined || (open && local)
  return {
    tokens: open ? undefined : tokenCheck(tokens),
    hosts: checksHosts ? (name) => isLoopback(name) || names.has(name.toLowerCase()) : undefined,
    origins: allowedOrigins,
    maxBodyBytes,
    maxInFlight,
    health: options.health ?? true,
    metrics: options.metrics ?? true,
    page: options.page ?? true
  }
})

const isToken = (one: Redacted.Redacted<unknown>): boolean => {
  const value = Redacted.value(one)
  return typeof value === "string" && token.test(value)
}

/** A name, an IPv4 address, or an IPv6 address in brackets, as a `Host` header has them. */
const hostName = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)$/

export interface ListenOptions {
  readonly host: string
  readonly port: number
  readonly drainDelay: Duration.Duration
  readonly drainTimeout: Duration.Duration
}

/** Checks the options of the server. */
export const listenOptions = Effect.fnUntraced(function* (
  options: GatewayServer.Options
): Effect.fn.Return<ListenOptions, OpenRouterError.InvalidOption> {
  const { host = "127.0.0.1", port = 4040 } = options
  if (typeof host !== "string" || host === "") return yield* invalid("host", "a name or an address")
  if (!(Number.isInteger(port) && port >= 0 && port <= 65_535)) {
    return yield* invalid("port", "a whole number from 0 to 65535")
  }
  return {
    host,
    port,
    drainDelay: yield* durationOf("drainDelay", options.drainDelay ?? 0),
    drainTimeout: yield* durationOf("drainTimeout", options.drainTimeout ?? "30 seconds")
  }
})

const durationOf = (option: string, input: Duration.Input) => {
  const duration = Duration.fromInput(input)
  return Option.isSome(duration) && Duration.toMillis(duration.value) >= 0
    ? Effect.succeed(duration.value)
    : invalid(option, "a duration from 0 up")
}
