"""The pages at ``/``: plain modules and style sheets, served as they are. They know the API and nothing else of us.

``index.html`` is the dashboard, ``docs.html`` shows ``/openapi.json`` to people, ``client.js`` is the client for everybody's own pages and
``example.html`` a page that uses it. Nothing in them is inline, and they ask nobody but the service that served them.
"""
