"""Where a kiosk's decisions go: log, page, MQTT, webhook, relay, command. None of them can hold a decision up."""
