/**
 * `evenkeel serve`: an OpenAI-compatible gateway over all keys.
 */
import { OpenRouterError } from "@evenkeel/openrouter"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { InvalidFlag } from "../internal/exit.ts"
import * as Flags from "../internal/flags.ts"
import * as Live from "../internal/openrouter.ts"

const flags = {
  host: Flag.String("host").pipe(
    Flag.withDescription(
      "Where to listen; 127.0.0.1 by default. Anything but loopback needs EVENKEEL_TOKENS"
    ),
    Flag.withDefault("127.0.0.1")
  ),
  port: Flags.whole("port", 0, 65_535).pipe(
    Flag.withAlias("p"),
    Flag.withDescription("TCP port, 4040 by default; 0 lets the system choose"),
    Flag.withDefault(4040)
  ),
  allowUnauthenticated: Flag.Boolean("allow-unauthenticated").pipe(
    Flag.withDescription("Let everybody who can reach the server spend the credit of the keys"),
    Flag.withDefault(false)
  ),
  allowedHosts: Flag.String("allow-host").pipe(
    Flag.withDescription("A name by which the server may be called, besides loopback's; may be repeated"),
    Flag.between(0, 100)
  ),
  allowedOrigins: Flag.String("allow-origin").pipe(
    Flag.withDescription(
      "An origin of web pages that may call it, such as https://app.example; may be repeated"
    ),
    Flag.between(0, 100)
  ),
  maxInFlight: Flags.whole("max-in-flight", 1, 1_000_000).pipe(
    Flag.withDescription("Requests in work at once, waiting ones included; 4096 by default"),
    Flag.optional
  ),
  maxBodyBytes: Flags.whole("max-body", 1, 2_147_483_647).pipe(
    Flag.withMetavar("BYTES"),
    Flag.withDescription("The longest body of a request; 32 MiB by default"),
    Flag.optional
  ),
  page: Flag.Boolean("page").pipe(
    Flag.withDescription("The live page at /; --no-page leaves it out"),
    Flag.withDefault(true)
  ),
  metrics: Flag.Boolean("metrics").pipe(
    Flag.withDescription("Prometheus metrics at /metrics; --no-metrics leaves them out"),
    Flag.withDefault(true)
  ),
  drainDelay: Flags.duration("drain-delay").pipe(
    Flag.withDescription(
      "How long new requests are still taken after a signal, while /ready says 503; 0s by default"
    ),
    Flag.withDefault(Duration.zero)
  ),
  drainTimeout: Flags.duration("drain-timeout").pipe(
    Flag.withDescription("How long requests in work may take to finish after a signal; 30s by default"),
    Flag.withDefault(Duration.seconds(30))
  ),
  selector: Flags.selector,
  retries: Flags.retries,
  timeout: Flags.timeout,
  ...Flags.keys
}

/** Tokens are no flags: whoever lists the processes of the machine would see them. */
const tokens = Config.option(Config.Redacted("EVENKEEL_TOKENS")).pipe(
  Config.map((list) =>
    Option.match(list, {
      onNone: () => [],
      onSome: (secret) =>
        Redacted.value(secret)
          .split(/[\s,]+/)
          .filter((token) => token !== "")
          .map((token) => Redacted.make(token, { label: "token" }))
    })
  )
)

/** What the gateway calls its options, as it is said here. */
const names: { readonly [option: string]: string } = {
  tokens: "EVENKEEL_TOKENS",
  host: "--host",
  allowedHosts: "--allow-host",
  allowedOrigins: "--allow-origin"
}

const inFlags = ({ expected, option }: OpenRouterError.InvalidOption) =>
  new OpenRouterError.InvalidOption({
    option: names[option] ?? option,
    expected: expected.replace("set allowUnauthenticated", "--allow-unauthenticated")
  })

const run = Effect.gen(function* () {
  const { address } = yield* HttpServer.HttpServer
  yield* Console.log(`Listening on ${HttpServer.formatAddress(address)}/v1`)
  return yield* Effect.never
})

export const serve = Command.make("serve", flags, (config) =>
  Effect.gen(function* () {
    // It is loaded by those alone who want it.
    const { GatewayServer } = yield* Effect.promise(() => import("@evenkeel/gateway"))
    const server = GatewayServer.layer({
      ...config,
      tokens: yield* tokens,
      maxInFlight: Option.getOrUndefined(config.maxInFlight),
      maxBodyBytes: Option.getOrUndefined(config.maxBodyBytes)
    })
    const live = Live.layer({
      ...config,
      openrouter: { timeout: config.timeout },
      retry: { times: config.retries }
    })
    return yield* Effect.provide(run, Layer.provide(server, live)).pipe(
      Effect.catchTag("InvalidOption", (error) => Effect.fail(inFlags(error))),
      Effect.catchTag("ServeError", ({ cause }) =>
        Effect.fail(
          new InvalidFlag({ flag: "port", problem: cause instanceof Error ? cause.message : String(cause) })
        )
      )
    )
  }).pipe(Effect.provide(Live.configuration(config)))
).pipe(
  Command.withDescription(
    "Serves OpenAI's and OpenRouter's API on this machine, over all keys: point the base URL of any client at it. Clients show a token of EVENKEEL_TOKENS (a list), if that is set; beyond loopback it must be. A signal lets requests in work finish; a second one does not."
  ),
  Command.withShortDescription("An OpenAI-compatible gateway over all keys"),
  Command.withExamples([
    { command: "evenkeel serve --simulate", description: "Try it without a key" },
    {
      command: "EVENKEEL_TOKENS=$(openssl rand -hex 24) evenkeel serve --host 0.0.0.0",
      description: "For other machines"
    },
    { command: "OPENAI_BASE_URL=http://127.0.0.1:4040/v1 python my_program.py", description: "A client" }
  ])
)
