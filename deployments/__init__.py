"""Where and how the flows are deployed: profiles, work pools' job templates, images, automations, prefect.yaml."""
