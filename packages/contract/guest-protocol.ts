import { z } from 'zod'

/*
 * The wire between the runner (host) and the supervisor in a microVM (guest): one byte stream, framed.
 *
 *   frame   = type u8 | stream u32 BE | length u32 BE | payload (length bytes)
 *   type    1 OPEN   payload: JSON OpenHeader; the opener chooses the stream number (host even, guest odd, never reused)
 *           2 DATA   payload: bytes; at most the credit that the receiver gave
 *           3 END    no more DATA from this side (half close)
 *           4 RESET  payload: UTF-8 reason; the stream is over for both sides
 *           5 CREDIT payload: u32 BE, bytes the receiver now accepts in addition
 *
 * Each side of each stream starts with INITIAL_CREDIT_BYTES. A frame that breaks these rules ends the channel, and with it
 * the microVM: a channel is never reconnected.
 *
 * Opening: while nobody is connected the guest sits in a blocking write of READY_LINE, or, on a vsock, in a wait for a connection
 * that it then writes it to (that wait is the state in which a template is saved; it costs no CPU, and what a blocked write holds
 * comes out first in every clone). The host
 * connects and sends `HELLO_PREFIX <32 hex digits>\n`; the guest echoes that line and both sides go over to frames. The host
 * discards everything up to the echo of its own digits, and may send frames right behind its hello.
 */

export const GUEST_PROTOCOL_VERSION = 2
export const FRAME = { OPEN: 1, DATA: 2, END: 3, RESET: 4, CREDIT: 5 } as const
export const FRAME_HEADER_BYTES = 9
/** Largest payload of one frame, bytes. */
export const MAX_FRAME_BYTES = 64 * 1024
/** Bytes each side may send on a new stream before it needs a CREDIT. */
export const INITIAL_CREDIT_BYTES = 256 * 1024

/** Written by the guest whenever it starts to wait for a host. */
export const READY_LINE = `SWARM-READY ${GUEST_PROTOCOL_VERSION}\n`
export const HELLO_PREFIX = 'SWARM-HELLO'
/** Name of the virtio-serial port that carries the channel (QEMU). */
export const CHANNEL_PORT_NAME = 'swarm.control'
/** Port of the guest's vsock that carries it where there is no such virtio-serial port (Firecracker); the host connects. */
export const CHANNEL_VSOCK_PORT = 1024
/** More open streams than this on one channel are refused with a RESET. */
export const MAX_OPEN_STREAMS = 512

/** Host → guest, first stream after a restore: nothing else is answered before it has succeeded. */
export const PrepareHeader = z.object({
  kind: z.literal('prepare'),
  /** Wall clock of the host at sending, ms since the epoch. */
  nowMs: z.number().int(),
  /** 32 fresh random bytes, base64: credited to the kernel's pool, then a reseed is forced. */
  entropy: z.string(),
  /** 32 hex digits: the clone's /etc/machine-id. */
  machineId: z.string().regex(/^[0-9a-f]{32}$/),
  hostname: z.string().regex(/^[a-z0-9-]{1,63}$/),
  /** Mount the scratch disk as the writable layer at /work (false in a template). */
  mountScratch: z.boolean(),
  /** Processes and threads that may exist at once in the guest, the supervisor's own included; no limit when absent. */
  pids: z.number().int().positive().optional(),
  /**
   * PEM of the authority under which the egress proxy ends TLS for hosts that get secrets: the guest's tools trust it from now on.
   * Only for work whose project has such hosts; a template never has one.
   */
  authority: z.string().max(8_192).optional(),
})
/** Guest → host, the one DATA of a prepare stream, JSON: every step that was carried out, in order. A failure is a RESET. */
export const PrepareAcknowledgement = z.object({
  done: z.array(z.enum(['clock', 'reseed', 'machine_id', 'hostname', 'scratch', 'pids', 'authority'])),
  /** The guest's wall clock just after it was set, ms since the epoch. */
  guestNowMs: z.number(),
})

/**
 * Host → guest: move the wall clock by `stepMs` (0: leave it) and say what it shows, as the one DATA of the stream: JSON
 * ClockAnswer. A step is relative, so that it is right however long it was on its way.
 */
export const ClockHeader = z.object({ kind: z.literal('clock'), stepMs: z.number() })
export const ClockAnswer = z.object({ guestNowMs: z.number() })

/** Host → guest: run a process. DATA host→guest is its stdin (END closes it); DATA guest→host are ExecOutput chunks. */
export const ExecHeader = z.object({
  kind: z.literal('exec'),
  argv: z.array(z.string()).min(1),
  cwd: z.string(),
  env: z.record(z.string(), z.string()),
  /** Killed with its whole process group after this many ms. */
  timeoutMs: z.number().int().positive().optional(),
  /** stdout and stderr beyond this many bytes together are read and thrown away in the guest. */
  maxOutputBytes: z.number().int().nonnegative().optional(),
  correlationId: z.string().optional(),
})

/** Guest → host: bytes of a TCP connection that a process in the guest made to the proxy listener on 127.0.0.1. */
export const ForwardHeader = z.object({ kind: z.literal('forward'), listener: z.literal('proxy') })

/** Host → guest: are you there? The guest ends the stream at once; a RESET of it is a sign of life as well. No DATA. */
export const PingHeader = z.object({ kind: z.literal('ping') })

export const OpenHeader = z.discriminatedUnion('kind', [PrepareHeader, ClockHeader, ExecHeader, ForwardHeader, PingHeader])
export type OpenHeader = z.infer<typeof OpenHeader>
export type PrepareAcknowledgement = z.infer<typeof PrepareAcknowledgement>
export type PrepareHeader = z.infer<typeof PrepareHeader>
export type ClockHeader = z.infer<typeof ClockHeader>
export type ExecHeader = z.infer<typeof ExecHeader>
export type ForwardHeader = z.infer<typeof ForwardHeader>

/** In an exec stream every guest→host record is: tag u8 | length u32 BE | bytes. EXIT carries JSON ExecExit and is the last. */
export const EXEC_TAG = { STDOUT: 1, STDERR: 2, EXIT: 3 } as const
export const ExecExit = z.object({
  code: z.number().int().nullable(),
  signal: z.string().nullable(),
  timedOut: z.boolean(),
  /** Some output was thrown away because of maxOutputBytes. */
  truncated: z.boolean().default(false),
  wallMs: z.number().nonnegative(),
})
export type ExecExit = z.infer<typeof ExecExit>

/** TCP port on 127.0.0.1 in the guest whose connections come out at the runner's egress proxy. */
export const GUEST_PROXY_PORT = 3128
/** Names that the runner routes itself, outside the egress rules. */
export const MODEL_HOST = 'model.swarm.internal'
export const GIT_HOST = 'git.swarm.internal'
/** Where the repository is checked out in the guest, and where the agent program lies. */
export const GUEST_WORKSPACE = '/work/repository'
export const GUEST_AGENT_PROGRAM = '/opt/swarm/agent.mjs'

/** Where a guest keeps that authority, and all that it trusts. */
export const GUEST_AUTHORITY_FILE = '/usr/local/share/ca-certificates/swarm-egress.crt'
export const GUEST_TRUST_FILE = '/etc/ssl/certs/ca-certificates.crt'

/**
 * What makes tools trust the authority: each reads a variable of its own. curl and Python's ssl read SSL_CERT_FILE, Python's
 * requests and pip do not; a Node older than NODE_USE_SYSTEM_CA knows NODE_EXTRA_CA_CERTS alone.
 * @param authority file of the authority
 * @param trusted file of all certificates that are trusted, the authority's among them
 */
export function trustEnvironment(authority: string, trusted: string): Record<string, string> {
  return { NODE_EXTRA_CA_CERTS: authority, SSL_CERT_FILE: trusted, CURL_CA_BUNDLE: trusted, GIT_SSL_CAINFO: trusted, REQUESTS_CA_BUNDLE: trusted, PIP_CERT: trusted, npm_config_cafile: trusted }
}
