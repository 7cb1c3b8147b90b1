import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig } from 'vite'

/** A running platform for `vite dev` and `vite preview`; the built page asks the server it came from. */
const platform = process.env.FLEETPULSE_API ?? 'http://127.0.0.1:8080'
const passedOn = { target: platform, changeOrigin: false }

// Vite reads its configuration from the default export.
export default defineConfig({
  root: import.meta.dirname,
  plugins: [svelte()],
  server: { proxy: { '/api': passedOn, '/metrics': passedOn } },
  build: {
    outDir: '../../dist/web',
    emptyOutDir: true,
    target: 'es2022',
    sourcemap: false,
    // The page's own policy allows no inline code, and images come from this origin.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
})
