; What counts as an entity in Python. The capture names are explained in code.py.

(class_definition name: (identifier) @name) @class
(function_definition name: (identifier) @name) @function

; Decorators belong to what they decorate.
(decorated_definition definition: (_) @inner) @outer
