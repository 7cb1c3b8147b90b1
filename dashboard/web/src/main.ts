import 'uplot/dist/uPlot.min.css'
import './styles/tokens.css'
import './styles/base.css'
import './styles/parts.css'
import { mount } from 'svelte'
import App from './App.svelte'
import { router } from './router/router.svelte.ts'

const target = document.getElementById('app')
if (target === null) throw new Error('index.html has no element #app')
router.start()
mount(App, { target })
