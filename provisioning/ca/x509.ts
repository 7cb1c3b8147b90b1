// The library finds its algorithms through decorators, so the metadata polyfill must be evaluated before it: hence this one place.
import 'reflect-metadata'
import * as x509 from '@peculiar/x509'

export { x509 }
