import js from '@eslint/js'
import tseslint from 'typescript-eslint'

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/', 'data/', '.cache/', 'dashboard/web/'] },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { project: './tsconfig.json', tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_', ignoreRestSiblings: true }],
      '@typescript-eslint/no-floating-promises': ['error', { allowForKnownSafeCalls: [{ from: 'package', package: 'node:test', name: ['test', 'describe', 'it', 'suite'] }] }],
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/prefer-promise-reject-errors': 'off',
      '@typescript-eslint/unbound-method': 'off',
      '@typescript-eslint/no-base-to-string': 'off',
      'no-control-regex': 'off',
      'no-restricted-syntax': [
        'error',
        { selector: 'ExportDefaultDeclaration', message: 'Name what you export.' },
        { selector: 'CatchClause > BlockStatement[body.length=0]', message: 'Say what happens to the error.' },
      ],
    },
  },
  {
    // One source of time and chance: a virtual clock and a seed must be able to run everything.
    files: ['contracts/**/*.ts', 'storage/**/*.ts', 'broker/**/*.ts', 'ingest/**/*.ts', 'processing/**/*.ts', 'anomaly/**/*.ts', 'alerts/**/*.ts', 'agents/**/*.ts', 'device-registry/**/*.ts', 'provisioning/**/*.ts', 'dashboard/api/**/*.ts', 'simulators/**/*.ts', 'app/**/*.ts'],
    ignores: ['**/*.test.ts', '**/*.contract.ts', '**/testing/**'],
    rules: {
      'no-restricted-properties': [
        'error',
        { object: 'Date', property: 'now', message: 'Take a Clock (kernel/time.ts).' },
        { object: 'Math', property: 'random', message: 'Take a Random (kernel/random.ts).' },
      ],
      'no-restricted-globals': ['error', { name: 'setTimeout', message: 'Take a Clock (kernel/time.ts).' }, { name: 'setInterval', message: 'Take a Clock (kernel/time.ts).' }],
    },
  },
  {
    files: ['**/*.test.ts', '**/*.contract.ts', '**/testing/**', '**/*-testing.ts', 'benchmarks/**'],
    rules: {
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
      '@typescript-eslint/no-misused-promises': 'off',
      '@typescript-eslint/restrict-template-expressions': 'off',
      'no-unsafe-optional-chaining': 'off',
    },
  },
  { files: ['**/*.mjs', '**/*.cjs', '*.js'], languageOptions: { globals: { process: 'readonly', console: 'readonly', module: 'writable', URL: 'readonly', setTimeout: 'readonly' } } },
)
