// What holds of streams holds of them over the lean client too, which has a way of its own for bodies and their bytes.
import { UndiciHttpClient } from "@evenkeel/undici"
import { transport } from "./utils.ts"

transport.layer = UndiciHttpClient.layer

await import("./ChatStream.test.ts")
await import("./Sse.test.ts")
