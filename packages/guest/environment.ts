import { existsSync } from 'node:fs'
import { GUEST_AUTHORITY_FILE, GUEST_PROXY_PORT, GUEST_TRUST_FILE, trustEnvironment } from '@swarm/contract/guest-protocol.ts'

const PROXY = `http://127.0.0.1:${GUEST_PROXY_PORT}`

/**
 * What every process in the guest gets. The microVM has no network device: the proxy on 127.0.0.1 is the only way out, so
 * each tool is told of it in the spelling that it reads (curl ignores HTTP_PROXY in upper case for plain http).
 */
export function baseEnvironment(): Record<string, string> {
  return {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: '/root', USER: 'root', LOGNAME: 'root', SHELL: '/bin/sh', LANG: 'C.UTF-8', TZ: 'UTC',
    http_proxy: PROXY, https_proxy: PROXY, all_proxy: PROXY, HTTP_PROXY: PROXY, HTTPS_PROXY: PROXY, ALL_PROXY: PROXY,
    no_proxy: 'localhost,127.0.0.1,::1', NO_PROXY: 'localhost,127.0.0.1,::1',
    // In place of NODE_USE_ENV_PROXY=1, which costs every Node process a second under emulation: see init/node-proxy.cjs.
    NODE_OPTIONS: '--require=/opt/swarm/node-proxy.cjs', NODE_USE_SYSTEM_CA: '1', SSL_CERT_FILE: GUEST_TRUST_FILE,
    // With npm's own retries a refused host took 75 s to fail.
    npm_config_fetch_retries: '1', npm_config_fetch_retry_mintimeout: '500', npm_config_fetch_retry_maxtimeout: '2000',
    npm_config_update_notifier: 'false', npm_config_fund: 'false',
    GIT_TERMINAL_PROMPT: '0',
    ...(existsSync(GUEST_AUTHORITY_FILE) ? trustEnvironment(GUEST_AUTHORITY_FILE, GUEST_TRUST_FILE) : {}),
  }
}
