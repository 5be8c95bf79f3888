"""One module a provider that sends: the notice and the account in, the provider's answer as a typed result out."""
