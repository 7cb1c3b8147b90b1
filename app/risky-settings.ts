import type { RiskySetting } from '../provisioning/posture/checks.ts'
import type { Config } from './config-sections.ts'

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|::1)$/i
/** Beyond this a stolen device key is of use for years; two years and a reserve for devices that lie in stores. */
const DEVICE_LIFETIME_DAYS_MAX = 800
const DAY_MS = 86_400_000
const TOKEN_LIFETIME_DAYS_MAX = 30

/** Settings that let in, or let out, more than a platform in use should: findings of the security check. */
export function riskySettings(config: Config): RiskySetting[] {
  const { api, broker, documents, platform, provisioning, webhooks, mqttDoor } = config
  const risks: (RiskySetting & { isOn: boolean })[] = [
    {
      isOn: !LOOPBACK.test(api.host),
      setting: 'api.host',
      risk: `The operator API listens on ${api.host} without TLS: tokens can be read on the way`,
      remedy: 'Let it listen on loopback behind a proxy that speaks TLS.',
    },
    {
      isOn: !LOOPBACK.test(platform.operationsHost),
      setting: 'platform.operationsHost',
      risk: `Metrics are open to everybody who reaches ${platform.operationsHost}`,
      remedy: 'Let them listen on loopback, or on a network of their own.',
    },
    {
      isOn: platform.documentsEngine === 'mongodb' && documents.sealKeys === '' && documents.sealKeysFile === '',
      setting: 'documents.sealKeys',
      risk: 'What people and agents say lies in the database as plain text, private messages too',
      remedy: 'Give every process the same keys in documents.sealKeys or documents.sealKeysFile.',
    },
    {
      isOn: broker.lab.port !== null,
      setting: 'broker.lab.port',
      risk: 'The conformance listener is open: it has neither certificates nor a topic policy',
      remedy: 'Close it where no protocol test runs.',
    },
    {
      isOn: webhooks.allowHttp,
      setting: 'webhooks.allowHttp',
      risk: 'Webhooks may go out without TLS: what they tell can be read on the way',
      remedy: 'Give the receivers https, and set webhooks.allowHttp to false.',
    },
    {
      isOn: webhooks.allowPrivateTargets,
      setting: 'webhooks.allowPrivateTargets',
      risk: 'Webhooks may go to addresses of internal networks: who may add one reaches services behind the firewall',
      remedy: 'Set webhooks.allowPrivateTargets to false, unless every receiver lies in such a network.',
    },
    {
      isOn: provisioning.deviceLifetimeDays > DEVICE_LIFETIME_DAYS_MAX,
      setting: 'provisioning.deviceLifetimeDays',
      risk: `Device certificates are valid for ${provisioning.deviceLifetimeDays} days`,
      remedy: `Issue them for at most ${DEVICE_LIFETIME_DAYS_MAX} days, and let devices renew.`,
    },
    {
      isOn: provisioning.tokenLifetimeMs > TOKEN_LIFETIME_DAYS_MAX * DAY_MS,
      setting: 'provisioning.tokenLifetimeMs',
      risk: `Enrolment tokens can be used for ${Math.floor(provisioning.tokenLifetimeMs / DAY_MS)} days after they were made`,
      remedy: 'Make them shortly before they are used.',
    },
    {
      isOn: mqttDoor.url !== '' && mqttDoor.unknownDevices === 'register',
      setting: 'mqttDoor.unknownDevices',
      risk: 'Whoever may publish at the other MQTT broker can register devices here by naming them',
      remedy: 'Register devices yourself, and set mqttDoor.unknownDevices to reject.',
    },
  ]
  return risks.filter(({ isOn }) => isOn).map(({ setting, risk, remedy }) => ({ setting, risk, remedy }))
}
